"""What signal processing reads from pictures and sounds, whatever was asked for."""
