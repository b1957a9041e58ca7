"""Pictures for people: arrays in, pictures out. The libraries that draw are imported when a function is called."""
