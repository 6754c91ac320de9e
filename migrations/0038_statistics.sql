-- Statistics of connections: samples of the media plane's counters each 10 s, kept for
-- a day, and what each live connection's client last said of itself.

-- +goose Up
-- Counts are totals since the connection's media was up; null is 0. There is no foreign
-- key: each row would pay for it, and making or dropping a partition would lock what it
-- points at.
create table connection_sample (
    tenant_id                text not null,
    connection_id            text not null,
    at                       timestamptz not null,
    connected_ms             bigint,
    in_audio_bytes           bigint,
    in_audio_packets         bigint,
    in_audio_lost            integer,
    in_audio_expected        bigint,
    in_audio_jitter_us       integer,
    in_audio_resent          integer,
    in_audio_nacks           integer,
    in_video_bytes           bigint,
    in_video_packets         bigint,
    in_video_lost            integer,
    in_video_expected        bigint,
    in_video_jitter_us       integer,
    in_video_resent          integer,
    in_video_nacks           integer,
    in_video_plis            integer,
    in_video_frames          integer,
    out_audio_bytes          bigint,
    out_audio_packets        bigint,
    out_audio_lost           integer,
    out_audio_expected       bigint,
    out_audio_jitter_us      integer,
    out_audio_resent         integer,
    out_audio_nacks          integer,
    out_video_bytes          bigint,
    out_video_packets        bigint,
    out_video_lost           integer,
    out_video_expected       bigint,
    out_video_jitter_us      integer,
    out_video_resent         integer,
    out_video_nacks          integer,
    out_video_plis           integer,
    out_video_frames         integer,
    out_video_firs           integer,
    out_video_dropped        integer,
    rtt_us                   integer,
    bandwidth                bigint,
    data_in                  bigint,
    data_out                 bigint,
    sent_layers              integer,
    shown_layers             integer,
    aimed_layers             integer,
    client_reports           integer,
    client_rtt_us            integer,
    client_available_out     bigint,
    client_available_in      bigint,
    client_frames_encoded    integer,
    client_frames_decoded    integer,
    client_frames_dropped    integer,
    client_freezes           integer,
    client_frozen_ms         integer,
    client_audio_buffer_ms   bigint,
    client_audio_emitted     bigint,
    client_video_buffer_ms   bigint,
    client_video_emitted     bigint,
    client_concealed         bigint,
    client_samples           bigint,
    client_audio_level       integer,
    client_limitation        integer,
    client_candidate         integer,
    primary key (tenant_id, connection_id, at)
) partition by range (at);
select isolate('connection_sample');
select partition_by_time('connection_sample', length => '1 hour', kept => '24 hours', ahead => '4 hours');

-- Written each minute for every live connection, and worth nothing after a crash.
create unlogged table client_report (
    tenant_id     text not null references tenant,
    connection_id text not null,
    at            timestamptz not null,
    report        bytea not null, -- the list of RTCStats as it came
    primary key (tenant_id, connection_id)
);
create index client_report_by_age on client_report (at);
select isolate('client_report');

-- +goose Down
drop table client_report;
select partition_forget('connection_sample');
drop table connection_sample;
