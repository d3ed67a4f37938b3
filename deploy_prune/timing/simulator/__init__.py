"""ARM cores without hardware: files run in an emulator that counts, and a model of the core prices what was counted."""
