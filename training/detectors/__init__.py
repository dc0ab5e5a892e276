"""The list of detectors: catalog name -> where its class is, imported at first use."""

from training.core.catalog import Catalog
from training.core.detector import Detector

DETECTORS: Catalog[Detector] = Catalog(
    "detector",
    {
        "autoencoder": "training.detectors.autoencoder:Autoencoder",
        "ensemble": "training.detectors.ensemble:DetectorEnsemble",
        "forecast_residual": "training.detectors.forecast_residual:ForecastResidual",
        "isolation_forest": "training.detectors.isolation_forest:IsolationForest",
        "kmeans": "training.detectors.kmeans:KMeans",
        "local_outlier_factor": "training.detectors.local_outlier_factor:LocalOutlierFactor",
        "moving_average": "training.detectors.moving_average:MovingAverage",
        "poly": "training.detectors.poly:Poly",
        "series2graph": "training.detectors.series2graph:Series2Graph",
        "sub_pca": "training.detectors.sub_pca:SubPCA",
        "z_score": "training.detectors.z_score:ZScore",
    },
)
