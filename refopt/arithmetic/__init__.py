"""Number systems that the rules run on besides arrays: error bounds and symbols."""
