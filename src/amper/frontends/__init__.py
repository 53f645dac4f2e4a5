"""Ways to reach a manager: they translate, and decide nothing."""
