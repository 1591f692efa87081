"""The module of an exception class that clients are allowed to rebuild."""
# SPDX-License-Identifier: Apache-2.0


class MyErr(Exception):
    def __init__(self, message, **kwargs):
        super().__init__(message)
        self.kwargs = kwargs
        self.code = kwargs.get('code')
