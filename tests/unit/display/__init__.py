"""Tests of the displays."""
