"""The lists of families for tables: catalog name -> where its class is, imported at first use."""

from training.core.catalog import Catalog
from training.core.component import Component
from training.core.tabular import Classifier, Regressor

REGRESSORS: Catalog[Regressor] = Catalog(
    "regressor",
    {
        "forest": "training.tabular.forest:ForestRegressor",
        "kernel": "training.tabular.kernel:KernelRegressor",
        "lightgbm": "training.tabular.lightgbm_rows:LightGBMRegressor",
        "linear": "training.tabular.linear:LinearRegressor",
        "nearest": "training.tabular.nearest:NearestRegressor",
        "xgboost": "training.tabular.xgboost_rows:XGBoostRegressor",
    },
)
CLASSIFIERS: Catalog[Classifier] = Catalog(
    "classifier",
    {
        "forest": "training.tabular.forest:ForestClassifier",
        "kernel": "training.tabular.kernel:KernelClassifier",
        "lightgbm": "training.tabular.lightgbm_rows:LightGBMClassifier",
        "linear": "training.tabular.linear:LinearClassifier",
        "nearest": "training.tabular.nearest:NearestClassifier",
        "xgboost": "training.tabular.xgboost_rows:XGBoostClassifier",
    },
)
TABULAR_MODELS: Catalog[Component] = Catalog(
    "tabular model", {"tabular_ensemble": "training.tabular.ensemble:TabularEnsemble"}
)
