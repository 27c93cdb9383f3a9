# The image of Tarmac: `docker build -t tarmac .`, with BuildKit.
#
#   --build-arg BINARY=prebuilt   takes target/release/tarmac instead of building; it must come from a system whose C library
#                                 is not newer than BASE_IMAGE's, and `strip` makes it smaller
#   --build-arg FEATURES=kafka-tls
#   --build-arg VERSION=… --build-arg REVISION=…   what the labels say
ARG BUILD_IMAGE=rust:1.95-bookworm
ARG BASE_IMAGE=debian:bookworm-slim
ARG BINARY=build

FROM ${BUILD_IMAGE} AS build
ARG FEATURES=
WORKDIR /src
COPY Cargo.toml Cargo.lock tarmac.toml ./
COPY migration migration
COPY benches benches
COPY fuzz fuzz
COPY tests tests
COPY src src
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --features "${FEATURES}" && install -s target/release/tarmac /tarmac

FROM scratch AS prebuilt
COPY target/release/tarmac /tarmac

FROM ${BINARY} AS binary

FROM ${BASE_IMAGE}
# Certificates of authorities, for an archive in the cloud; they bring the OpenSSL that kafka-tls needs.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
    && useradd --system --uid 10001 --user-group --home-dir /var/lib/tarmac --create-home tarmac
COPY --from=binary --chmod=755 /tarmac /usr/local/bin/tarmac
USER 10001:10001
WORKDIR /var/lib/tarmac
# With an arena a thread, which is the default, glibc keeps more of what is freed: docs/OPERATIONS.md, "Sizing".
ENV TARMAC_SERVER_ADDRESS=0.0.0.0:8080 MALLOC_ARENA_MAX=2
EXPOSE 8080
# SIGTERM begins a drain that takes twice server.shutdown_seconds at most: give it 45 seconds before a SIGKILL.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s --retries=3 CMD ["tarmac", "health"]
ENTRYPOINT ["tarmac"]
CMD ["serve"]
ARG VERSION=unreleased
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Tarmac" \
      org.opencontainers.image.description="Lands CSV files in PostGIS, exactly once" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
