// SPDX-License-Identifier: Apache-2.0

// Command genconfig writes the sample configuration file and the reference page
// from the option tables of the program.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/karbor-project/karbor/manager/service"
	"github.com/karbor-project/karbor/pkg/config"
)

func main() {
	sample := flag.String("sample", "", "the sample file to write")
	reference := flag.String("reference", "", "the reference page to write")
	flag.Parse()
	for _, out := range []struct {
		path  string
		write func(io.Writer) error
	}{
		{*sample, func(w io.Writer) error { return config.WriteSample(w, service.Options()) }},
		{*reference, service.WriteReference},
	} {
		if out.path == "" {
			continue
		}
		if err := writeFile(out.path, out.write); err != nil {
			fmt.Fprintln(os.Stderr, "genconfig:", err)
			os.Exit(1)
		}
	}
}

func writeFile(path string, write func(io.Writer) error) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := write(file); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}
