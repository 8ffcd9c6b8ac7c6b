"""How well are items recommended that training never saw, and what does it cost to add them?"""
