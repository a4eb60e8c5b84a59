"""Every setting, its default and its environment variable, in one typed place.

A setting `name` is read from CYTOLOOP_NAME. The data folder holds everything that cytoloop keeps;
its layout is defined here and nowhere else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from platformdirs import user_data_path
from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """The settings, and the paths below the data folder that follow from them.

    The description of each field says what it does, its unit and its range.

    Raises:
        ValidationError: A value is out of its range, or of the wrong type.
    """

    model_config = SettingsConfigDict(env_prefix="CYTOLOOP_", extra="ignore")

    data_dir: Path = Field(
        default_factory=lambda: user_data_path("cytoloop", appauthor=False),
        description="Folder that holds versions, snapshots, Label Studio and logs.",
    )
    retrain_after: int = Field(
        20, ge=1, description="Corrected tasks since the last training that start the next."
    )
    holdout_share: float = Field(
        0.2, ge=0, le=0.5, description="Share of groups kept apart for judging."
    )
    blind_share: float = Field(
        0.3, ge=0, le=1, description="Share of held-out tasks that are shown without boxes."
    )
    annotators: Literal["newest", "majority", "agreement"] = Field(
        "newest", description="Which boxes of several annotators of a task count."
    )
    soft_labels: bool = Field(
        False,
        description="Where annotators chose differently for an image, learn the share of each "
        "choice instead of the one that counts.",
    )
    strategy: str = Field(
        "foreground", description="What puts a queue in order, where a project chose nothing else."
    )
    preannotate: Literal["headline", "all"] = Field(
        "headline", description="Classes drawn as pre-annotations: the headline ones, or all."
    )
    epochs: int | None = Field(
        None, ge=1, description="Epochs of a training; the recipe's number where not set."
    )
    imgsz: int | None = Field(
        None, ge=64, description="Longest image side at the network, in pixels; the recipe's."
    )
    predict_seconds: float = Field(
        80.0, gt=0, description="/predict answers within this time; Label Studio waits 100 s."
    )
    quiet_seconds: float = Field(
        3.0, ge=0, description="After a hint, wait until no new one comes for so long."
    )
    poll_seconds: float = Field(0.5, gt=0, description="How often the worker looks for hints.")
    reconcile_seconds: float = Field(
        300.0, gt=0, description="How often the worker asks Label Studio what changed unhinted."
    )
    backend_user: str = Field("cytoloop", description="User name of the ML backend.")
    backend_password: str | None = Field(
        None, description="Password of the ML backend; made at first use where not set."
    )
    database_url: str | None = Field(
        None,
        repr=False,
        description="A PostgreSQL that several machines share, as "
        "postgresql://user@host/name; else SQLite files in the data folder.",
    )
    store_url: str | None = Field(
        None,
        description="A bucket for versions that several machines share, as s3://bucket/folder; "
        "else the data folder holds them.",
    )
    label_studio_env: Path | None = Field(
        None, description="An environment that holds Label Studio already; none is made then."
    )
    allowed_image_hosts: str = Field(
        "",
        description="Hosts beside Label Studio and its storages that images may come from: names, "
        "addresses, networks, with commas between them.",
    )
    tls_certificate: Path | None = Field(
        None, description="Certificate, a PEM file; with it the ML backend serves by TLS."
    )
    tls_key: Path | None = Field(None, description="The certificate's private key, a PEM file.")
    keep_days: float = Field(
        30.0, ge=1, description="What `cytoloop tidy` removes is older than so many days."
    )
    keep_candidates: int = Field(
        10,
        ge=1,
        description="Of the versions that were not promoted, `cytoloop tidy` keeps the weights of "
        "so many of each project, the newest.",
    )
    mlflow_tracking_uri: str | None = Field(
        None, description="A shared MLflow server; else a SQLite file in the data folder."
    )

    @field_validator("database_url")
    @classmethod
    def _check_database(cls, url: str | None) -> str | None:
        if url and not url.startswith(("postgresql://", "postgresql+psycopg://")):
            raise ValueError("it is no address like postgresql://user@host/name")
        return url or None

    @field_validator("store_url")
    @classmethod
    def _check_store(cls, url: str | None) -> str | None:
        if url and ("://" not in url or url.startswith("file:")):
            raise ValueError(
                "it is no address of a bucket like s3://bucket/folder; a folder on a shared drive "
                "can be the data folder itself (CYTOLOOP_DATA_DIR)"
            )
        return url or None

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("a certificate needs its key, and a key its certificate")
        for path in (self.tls_certificate, self.tls_key):
            if path is not None and not path.is_file():
                raise ValueError(f"{path} is not a file")
        return self

    # The layout of the data folder.
    @property
    def versions(self) -> Path:
        """Trained versions, a folder each."""
        return self.data_dir / "versions"

    @property
    def champions(self) -> Path:
        """Which version is each project's champion, with the history of changes."""
        return self.data_dir / "champions"

    @property
    def snapshots(self) -> Path:
        """Manifests of the snapshots, a JSON file each."""
        return self.data_dir / "snapshots"

    @property
    def questions(self) -> Path:
        """What was asked about labels in a second look, a file a project."""
        return self.data_dir / "questions"

    @property
    def images(self) -> Path:
        """Images fetched for training, by project; may be deleted at any time."""
        return self.data_dir / "images"

    @property
    def media(self) -> Path:
        """Images that our own Label Studio serves as local files."""
        return self.data_dir / "media"

    @property
    def training(self) -> Path:
        """Files of trainings, before they become versions."""
        return self.data_dir / "training"

    @property
    def progress(self) -> Path:
        """The progress of the running trainings, a file each."""
        return self.training / "progress"

    @property
    def simulations(self) -> Path:
        """Simulated review queues, a folder each; may be deleted at any time."""
        return self.data_dir / "simulations"

    @property
    def logs(self) -> Path:
        """Log files."""
        return self.data_dir / "logs"

    @property
    def studio(self) -> Path:
        """Label Studio's own environment, database and credentials."""
        return self.data_dir / "label-studio"

    @property
    def catalogue(self) -> Path:
        """What the projects' tasks show, a SQLite file each; may be deleted at any time."""
        return self.data_dir / "catalogue"

    @property
    def crops(self) -> Path:
        """Pictures of single cells, by project; may be deleted at any time."""
        return self.data_dir / "crops"

    @property
    def login_links(self) -> Path:
        """Links that log a browser in, a file each until it is used."""
        return self.data_dir / "login-links"

    @property
    def projects_database(self) -> Path | str:
        """Database of the connected projects: a SQLite file, or PostgreSQL's address."""
        return self.database_url or self.data_dir / "projects.sqlite"

    @property
    def samples_database(self) -> Path | str:
        """Database of the tiles that were drawn to be counted, as `projects_database`."""
        return self.database_url or self.data_dir / "samples.sqlite"

    @property
    def jobs_database(self) -> Path | str:
        """Database of the job queue, as `projects_database`."""
        return self.database_url or self.data_dir / "jobs.sqlite"

    @property
    def tracking_uri(self) -> str:
        """Address of the MLflow server; without one, of a SQLite file in the data folder."""
        database = (self.data_dir / "mlflow.sqlite").as_posix()
        return self.mlflow_tracking_uri or f"sqlite:///{database}"
