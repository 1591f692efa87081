#!/usr/bin/python3
"""Runs a Swift program with the swift.conf of another folder: swift-launch.py FOLDER PROGRAM ARGUMENT..."""
import runpy
import sys

from swift.common import utils

folder, program = sys.argv[1:3]
sys.argv = sys.argv[2:]
# Importing utils has read the hash settings of a Swift installed under /etc/swift. With those, programs that were started
# before and after such an installation would look for the same container in different places.
utils.set_swift_dir(folder)
runpy.run_path(program, run_name="__main__")
