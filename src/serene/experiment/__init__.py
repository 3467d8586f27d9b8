"""A recipe becomes trials, a run and its report; and what is asked of finished runs."""
