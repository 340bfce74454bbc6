"""The three promises: the tests of the package, on the project's own servers."""

from dot_wrapper.proving.suite.test_promises import *  # noqa: F403  pytest collects what it finds by name
