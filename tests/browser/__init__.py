"""The live page as people use it, in a real Chromium: `make test-browser`."""
