"""What the tests with a server ask is trained and exported once, and kept for as long as nothing changes that it is made of.

    python -m serving_tests.support.made                       all that the daily tests need, into .cache/served/
    python -m serving_tests.support.made --into FOLDER NAME …  these and what they need, into a folder of one's own

A name is that of a recipe (recipes.py) or the folder that several of them fill: `runs/shop`, `repository`, `heads`.
"""
