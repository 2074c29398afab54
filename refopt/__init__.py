"""refopt: which optimizer is this, exactly, and is it right?"""

__version__ = "0.1.0"
