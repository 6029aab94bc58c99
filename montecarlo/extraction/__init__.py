"""From what was measured to the deviations of devices."""
