"""What a source gets wrong of its own element, before anything is made from it."""
