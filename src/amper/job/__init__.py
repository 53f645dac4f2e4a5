"""What a job is and may become. It has never heard of the operating system or of an event loop."""
