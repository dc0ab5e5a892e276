"""The list of feature transforms: catalog name -> where its class is, imported at first use."""

from training.core.catalog import Catalog
from training.core.transform import Transform

TRANSFORMS: Catalog[Transform] = Catalog(
    "transform",
    {
        "calendar": "training.features.calendar:Calendar",
        "degree_days": "training.features.degree_days:DegreeDays",
        "interactions": "training.features.interactions:Interactions",
        "lags": "training.features.lags:Lags",
        "ratios": "training.features.ratios:Ratios",
        "rolling": "training.features.rolling:Rolling",
        "selection": "training.features.selection:Selection",
    },
)
