// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math/bits"
	"time"
)

// histogram counts durations in log-linear buckets, as an HDR histogram does: each
// power of two is divided into 128, so that a quantile is off by less than 1 %.
type histogram struct {
	counts [(64 - subBits) << subBits]uint32
	total  uint64
	sum    time.Duration
	max    time.Duration
}

const subBits = 7

func bucketOf(d time.Duration) int {
	v := uint64(max(d, 0))
	shift := max(bits.Len64(v)-subBits-1, 0)
	return shift<<subBits + int(v>>shift)
}

// upper is the longest duration of a bucket.
func upper(bucket int) time.Duration {
	if bucket < 2<<subBits {
		return time.Duration(bucket)
	}
	shift := bucket>>subBits - 1
	return time.Duration((uint64(bucket-shift<<subBits)+1)<<shift - 1)
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucketOf(d)]++
	h.total++
	h.sum += d
	h.max = max(h.max, d)
}

// quantile is the least duration that the share of all does not exceed.
func (h *histogram) quantile(share float64) time.Duration {
	rank := uint64(share*float64(h.total) + 0.999999)
	var seen uint64
	for i, n := range h.counts {
		if seen += uint64(n); n > 0 && seen >= rank {
			return min(upper(i), h.max)
		}
	}
	return h.max
}

func (h *histogram) mean() time.Duration {
	if h.total == 0 {
		return 0
	}
	return h.sum / time.Duration(h.total)
}
