"""The list of models: catalog name -> where its class is, imported at first use."""

from training.core.catalog import Catalog
from training.core.estimator import Forecaster

MODELS: Catalog[Forecaster] = Catalog(
    "model",
    {
        "auto_arima": "training.models.auto_arima:AutoARIMA",
        "auto_ets": "training.models.auto_ets:AutoETS",
        "channel_ridge": "training.models.channel_ridge:ChannelRidge",
        "driver_ridge": "training.models.driver_ridge:DriverRidge",
        "ensemble": "training.models.ensemble:Ensemble",
        "lightgbm": "training.models.lightgbm_trees:LightGBM",
        "lstm": "training.models.lstm:LSTM",
        "prophet": "training.models.prophet:Prophet",
        "ridge": "training.models.ridge:Ridge",
        "seasonal_mean": "training.models.seasonal_mean:SeasonalMean",
        "seasonal_naive": "training.models.seasonal_naive:SeasonalNaive",
        "theta": "training.models.theta:Theta",
        "xgboost": "training.models.xgboost_trees:XGBoost",
    },
)
