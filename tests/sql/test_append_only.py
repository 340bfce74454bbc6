"""What is stored stays as it is: the tests of the package, on the project's own servers."""

from dot_wrapper.proving.suite.test_append_only import *  # noqa: F403  pytest collects what it finds by name
