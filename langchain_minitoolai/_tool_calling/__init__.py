"""Tool calls over a service that documents none: prompt, history, parser."""
