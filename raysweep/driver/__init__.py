"""Many trials: Ray Tune schedules, Optuna proposes, the records decide."""
