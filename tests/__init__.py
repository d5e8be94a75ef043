"""Unit, integration and end-to-end tests, and the real parts that they and the demo run on."""
