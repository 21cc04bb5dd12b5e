"""Looking without computing: what a number is made of, what is set aside, what is wrong and what to do about it."""
