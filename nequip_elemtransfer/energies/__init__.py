"""Energy scales α and shifts μ: fitted, given, and how good the start then is."""
