"""How a behavioural transformer is trained and validated."""
