"""What the estimators of `fastrbm.estimators` are made of."""
