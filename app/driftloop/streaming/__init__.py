"""The live shells: Faust apps around the pure cores of monitor and assessor, and recovery from the logs."""
