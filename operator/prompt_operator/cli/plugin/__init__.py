"""``kubectl prompt``: what people do with prompts, as a plugin of kubectl."""
