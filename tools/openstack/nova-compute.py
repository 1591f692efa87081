#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs nova-compute: nova-compute.py DRIVERS ARGUMENT...

Debian has the program in a package that brings libvirt and QEMU along. Drivers in the folder DRIVERS are made part of
nova.virt, because Nova loads no others.
"""
import sys

import nova.virt
from nova.cmd.compute import main

nova.virt.__path__.append(sys.argv.pop(1))
sys.argv[0] = "nova-compute"
main()
