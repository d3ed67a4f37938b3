"""Workers on another machine, whatever leads to it: our runner is sent there once, and is what runs files."""
