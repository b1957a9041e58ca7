from hypothesis import settings

# The same examples in every run: a failure that comes is there again the next time.
settings.register_profile("seeded", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None, max_examples=2000)
settings.load_profile("seeded")
