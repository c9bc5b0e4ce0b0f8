# ragcore in a container: docs/how-to/container.md says how to build and run it.
#
#   docker build --tag ragcore .
#   docker build --tag ragcore:cuda --build-arg VARIANT=cuda .
#
# All steps are in scripts/container_build.sh, which a test runs in a bare Debian.
ARG DEBIAN=bookworm-slim

FROM debian:${DEBIAN} AS base
COPY scripts/container_build.sh /usr/local/lib/ragcore/container_build.sh
RUN /usr/local/lib/ragcore/container_build.sh system

FROM base AS packages
ARG VARIANT=cpu
ARG TORCH_INDEX=""
ARG EXTRAS="all"
WORKDIR /src
COPY . .
RUN scripts/container_build.sh packages "${VARIANT}" ${EXTRAS}

FROM base AS ragcore
LABEL org.opencontainers.image.title="ragcore" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=packages /opt/ragcore /opt/ragcore
RUN /usr/local/lib/ragcore/container_build.sh user
ENV PATH=/opt/ragcore/bin:$PATH \
    HOME=/var/lib/ragcore \
    PYTHONUNBUFFERED=1 \
    RAGCORE_HOME=/var/lib/ragcore/home \
    RAGCORE_WEIGHTS_CACHE=/var/lib/ragcore/weights \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
VOLUME /var/lib/ragcore
USER 10001:10001
WORKDIR /var/lib/ragcore
EXPOSE 8765 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8765/healthz', timeout=4)"]
ENTRYPOINT ["ragcore"]
CMD ["serve", "--host", "0.0.0.0"]
