"""Change of several features together, on samples of rows: tests with an effect each, and what moved the mean score.

scikit-learn is imported when a method needs it. Everything that needs chance takes a seed.
"""
