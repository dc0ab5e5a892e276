"""The list of models: catalog name -> where its class is, imported at first use."""

from training.core.catalog import Catalog
from training.core.estimator import Forecaster

MODELS: Catalog[Forecaster] = Catalog(
    "model",
    {
        "ensemble": "training.models.ensemble:Ensemble",
        "lstm": "training.models.lstm:LSTM",
        "ridge": "training.models.ridge:Ridge",
        "seasonal_mean": "training.models.seasonal_mean:SeasonalMean",
        "seasonal_naive": "training.models.seasonal_naive:SeasonalNaive",
        "xgboost": "training.models.gradient_boosting:GradientBoosting",
    },
)
