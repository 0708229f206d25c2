"""How good a trained network is: applied to pairs as it will restore, scored, compared, calibrated."""
