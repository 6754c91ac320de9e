# The platform as one static binary in an image without a shell, run as an
# unprivileged user. It brings no Postgres: set HIBARI_DATABASE_URL.
#
#   8080/tcp   console, APIs, signalling (HIBARI_HTTP_ADDR)
#   7700/udp   media (HIBARI_MEDIA_ADDR); publish it under the same number and
#              set HIBARI_MEDIA_IPS to the address clients reach the host by
#   /data      the master key, unless HIBARI_MASTER_KEY brings it; keep it

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o /out/platform ./cmd/platform \
    && mkdir /out/data

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/platform /platform
COPY --from=build --chown=65532:65532 /out/data /data
ENV HIBARI_HTTP_ADDR=:8080 \
    HIBARI_DATA_DIR=/data
VOLUME /data
EXPOSE 8080/tcp 7700/udp
USER 65532:65532
ENTRYPOINT ["/platform"]
CMD ["serve"]
