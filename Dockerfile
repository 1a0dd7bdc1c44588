# Go cross-compiles, so no platform is emulated: docker buildx build --platform linux/amd64,linux/arm64 .
ARG GO_VERSION=1.26
FROM --platform=$BUILDPLATFORM docker.io/library/golang:${GO_VERSION} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# The builder sets TARGETOS and TARGETARCH. A default here would override its values.
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=
ARG COMMIT=
# The build is reproducible: the same source and the same Go version give the same binary on every machine.
RUN CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} \
	go build -trimpath -buildvcs=false -ldflags "-s -w -buildid= -X main.version=${VERSION} -X main.commit=${COMMIT}" \
	-o /out/sidecast .
RUN .ci/licenses /out/sidecast >/out/THIRD_PARTY_LICENSES

FROM scratch
ARG VERSION=
ARG COMMIT=
LABEL org.opencontainers.image.title="Sidecast" \
	org.opencontainers.image.description="Delivers messages that an application publishes to Redis to browsers, over WebSocket" \
	org.opencontainers.image.licenses="MIT" \
	org.opencontainers.image.version="${VERSION}" \
	org.opencontainers.image.revision="${COMMIT}"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/LICENSE /LICENSE
COPY --from=build /out/THIRD_PARTY_LICENSES /THIRD_PARTY_LICENSES
COPY --from=build /out/sidecast /sidecast
# Without SIDECAST_REDIS_URL the container must fail instead of starting the in-memory Redis. The admin listener must be
# reachable from outside the container for probes.
ENV SIDECAST_EMBEDDED=false \
	SIDECAST_ADMIN_LISTEN=:9190
USER 65532:65532
EXPOSE 8080 9190
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["/sidecast", "healthcheck"]
ENTRYPOINT ["/sidecast"]
CMD ["serve"]
