# Two images from one build: `docker build --target server -t pithead .` and `docker build --target edge -t pithead-edge .`
# Needs BuildKit (the default since Docker 23) or Podman, for the cache mounts.

FROM rust:1.95-bookworm AS build
WORKDIR /build
COPY . .
# The time of the sources, below which no node takes the time to be until the platform tells it; that of the newest file unless given. Give
# that of the commit for an image that can be built again.
ARG SOURCE_DATE_EPOCH
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/build/target \
    SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(find Cargo.lock src crates locales migrations static templates -type f -printf '%Ts\n' | sort -n | tail -1)} \
    cargo build --release --locked --package pithead --bin pithead --package pithead-edge --bin pithead-edge \
    && mkdir /out && cp target/release/pithead target/release/pithead-edge /out/ && strip --strip-debug /out/*

FROM debian:bookworm-slim AS onnxruntime
RUN apt-get update -q && apt-get install -y -q --no-install-recommends ca-certificates python3 python3-pip && rm -rf /var/lib/apt/lists/*
COPY scripts/lib.sh scripts/onnxruntime.sh /build/scripts/
RUN /build/scripts/onnxruntime.sh /out

# What both images share: the C++ library that ONNX Runtime links, root certificates, a user without rights.
FROM debian:bookworm-slim AS base
RUN apt-get update -q && apt-get install -y -q --no-install-recommends ca-certificates libstdc++6 && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 pithead && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin pithead
COPY --from=onnxruntime /out/ /usr/local/lib/onnxruntime/
COPY scripts/healthcheck.sh /usr/local/bin/healthcheck

FROM base AS server
COPY --from=build /out/pithead /usr/local/bin/pithead
RUN install -d -o 10001 -g 10001 -m 0700 /var/lib/pithead
USER 10001:10001
WORKDIR /var/lib/pithead
ENV PITHEAD_DATA_DIR=/var/lib/pithead \
    PITHEAD_SERVER__LISTEN=0.0.0.0:8080 \
    PITHEAD_SERVER__EDGE_LISTEN=0.0.0.0:8443 \
    PITHEAD_CHECKS__ORT_LIB=/usr/local/lib/onnxruntime/libonnxruntime.so \
    PITHEAD_LOG__FORMAT=json
VOLUME /var/lib/pithead
# The site, and the edge endpoint (mutual TLS).
EXPOSE 8080 8443
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s CMD ["healthcheck", "8080", "/readyz"]
ENTRYPOINT ["pithead"]
CMD ["serve"]

FROM base AS edge
COPY --from=build /out/pithead-edge /usr/local/bin/pithead-edge
RUN install -d -o 10001 -g 10001 -m 0700 /var/lib/pithead-edge
USER 10001:10001
WORKDIR /var/lib/pithead-edge
ENV PITHEAD_EDGE_ORT_LIB=/usr/local/lib/onnxruntime/libonnxruntime.so
VOLUME /var/lib/pithead-edge
# The node's local API. On every address of the container, so it asks for the token that EDGE.md tells how to make; without the file
# the agent does not start.
EXPOSE 9101
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s CMD ["healthcheck", "9101", "/v2/health/live"]
ENTRYPOINT ["pithead-edge"]
CMD ["run", "--data", "/var/lib/pithead-edge", "--listen", "0.0.0.0:9101", "--token-file", "/var/lib/pithead-edge/token"]
