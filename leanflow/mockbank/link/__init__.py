"""The user's side of the Link SDK: what it may be called with, its screens, and what comes of an OTP."""
