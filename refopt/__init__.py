"""refopt: which optimizer is this, exactly, and is it right?"""
