CREATE TABLE device_state (
    device_id text NOT NULL,
    type text NOT NULL,
    event_id text NOT NULL,
    "time" timestamp with time zone NOT NULL,
    time_nanos smallint NOT NULL,
    sequence text NOT NULL COLLATE pg_catalog."C",
    data jsonb NOT NULL
);
CREATE TABLE event_history (
    "position" bigint NOT NULL,
    event_id text NOT NULL,
    source text NOT NULL,
    device_id text NOT NULL,
    type text NOT NULL,
    "time" timestamp with time zone NOT NULL,
    time_nanos smallint NOT NULL,
    sequence text NOT NULL COLLATE pg_catalog."C",
    data jsonb NOT NULL,
    recorded_at timestamp with time zone NOT NULL
);
ALTER TABLE event_history ALTER COLUMN "position" ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME event_history_position_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE inbox (
    service text NOT NULL,
    event_id text NOT NULL,
    state text NOT NULL,
    owner text NOT NULL,
    until timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT inbox_state_check CHECK ((state = ANY (ARRAY['in_progress'::text, 'done'::text])))
);
CREATE TABLE inbox_marks (
    service text NOT NULL,
    device_id text NOT NULL,
    stream text NOT NULL,
    "time" text NOT NULL COLLATE pg_catalog."C",
    sequence text NOT NULL COLLATE pg_catalog."C"
);
CREATE TABLE migrations (
    service text NOT NULL,
    version integer NOT NULL
);
CREATE TABLE orders_devices (
    device_id text NOT NULL,
    events bigint NOT NULL,
    last_event text NOT NULL
);
CREATE TABLE parked_device (
    service text NOT NULL,
    device_id text NOT NULL,
    version bigint NOT NULL,
    record text NOT NULL
);
INSERT INTO device_state VALUES ('hall-lamp', 'device.power.changed.v1', '6c3e4afe-be43-5a0a-9c09-6346e33229f2', '2005-01-29 12:01:00.123456+00', 789, '01107000000000000002', '{"on": true, "level_percent": 42.5}');
INSERT INTO device_state VALUES ('attic/sensor-1', 'device.temperature.measured.v1', 'db3b9695-af1f-54fe-a395-3eb59db06383', '2005-01-29 12:02:00+00', 0, '01107000000000000003', '{"celsius": 21.4}');
INSERT INTO device_state VALUES ('attic/sensor-1', 'device.reading.measured.v1', 'ceaf5e90-f4db-5fc9-a732-0885370722f3', '2005-01-29 12:03:00+00', 0, '01107000000000000004', '{"unit": "ppm", "value": 612, "quantity": "CO₂ \"<&>\""}');
INSERT INTO device_state VALUES ('porch-door', 'device.contact.changed.v1', 'frame-0042', '2005-01-29 12:04:00+00', 0, '01107000000000000006', '{"open": true}');
INSERT INTO device_state VALUES ('hall-lamp', 'device.motion.changed.v1', '7ab3fa56-e5ce-593b-b4ba-c075a098ec38', '2005-01-29 12:05:00+00', 0, '01107000000000000007', '{"detected": true}');
INSERT INTO event_history OVERRIDING SYSTEM VALUE VALUES (1, '8d8ca079-cfc5-53fc-a0b9-a9a699f0fa95', '/gateways/home-1', 'hall-lamp', 'device.power.changed.v1', '2005-01-29 12:00:00+00', 0, '01107000000000000001', '{"on": true}', '2026-11-30 07:15:31.310315+00');
INSERT INTO event_history OVERRIDING SYSTEM VALUE VALUES (2, '6c3e4afe-be43-5a0a-9c09-6346e33229f2', '/gateways/home-1', 'hall-lamp', 'device.power.changed.v1', '2005-01-29 12:01:00.123456+00', 789, '01107000000000000002', '{"on": true, "level_percent": 42.5}', '2026-11-30 07:15:31.378664+00');
INSERT INTO event_history OVERRIDING SYSTEM VALUE VALUES (3, 'db3b9695-af1f-54fe-a395-3eb59db06383', '/gateways/home-1', 'attic/sensor-1', 'device.temperature.measured.v1', '2005-01-29 12:02:00+00', 0, '01107000000000000003', '{"celsius": 21.4}', '2026-11-30 07:15:31.381034+00');
INSERT INTO event_history OVERRIDING SYSTEM VALUE VALUES (4, 'ceaf5e90-f4db-5fc9-a732-0885370722f3', '/gateways/home-1', 'attic/sensor-1', 'device.reading.measured.v1', '2005-01-29 12:03:00+00', 0, '01107000000000000004', '{"unit": "ppm", "value": 612, "quantity": "CO₂ \"<&>\""}', '2026-11-30 07:15:31.404919+00');
INSERT INTO event_history OVERRIDING SYSTEM VALUE VALUES (5, 'acdf33da-d7d8-5483-9fa8-7d978eeea376', '/gateways/home-1', 'hall-lamp', 'device.power.changed.v1', '2005-01-29 11:00:00+00', 0, '01107000000000000005', '{"on": false}', '2026-11-30 07:15:31.407318+00');
INSERT INTO event_history OVERRIDING SYSTEM VALUE VALUES (6, 'frame-0042', 'urn:gateway:home-2', 'porch-door', 'device.contact.changed.v1', '2005-01-29 12:04:00+00', 0, '01107000000000000006', '{"open": true}', '2026-11-30 07:15:31.408289+00');
INSERT INTO event_history OVERRIDING SYSTEM VALUE VALUES (7, '7ab3fa56-e5ce-593b-b4ba-c075a098ec38', '/gateways/home-1', 'hall-lamp', 'device.motion.changed.v1', '2005-01-29 12:05:00+00', 0, '01107000000000000007', '{"detected": true}', '2026-11-30 07:15:31.409055+00');
INSERT INTO inbox VALUES ('state', '8d8ca079-cfc5-53fc-a0b9-a9a699f0fa95', 'done', '', '2026-11-30 07:15:31.376711+00', '2026-11-30 07:15:31.376711+00');
INSERT INTO inbox VALUES ('state', '6c3e4afe-be43-5a0a-9c09-6346e33229f2', 'done', '', '2026-11-30 07:15:31.380409+00', '2026-11-30 07:15:31.380409+00');
INSERT INTO inbox VALUES ('state', 'db3b9695-af1f-54fe-a395-3eb59db06383', 'done', '', '2026-11-30 07:15:31.402767+00', '2026-11-30 07:15:31.402767+00');
INSERT INTO inbox VALUES ('state', 'ceaf5e90-f4db-5fc9-a732-0885370722f3', 'done', '', '2026-11-30 07:15:31.406708+00', '2026-11-30 07:15:31.406708+00');
INSERT INTO inbox VALUES ('state', 'acdf33da-d7d8-5483-9fa8-7d978eeea376', 'done', '', '2026-11-30 07:15:31.407964+00', '2026-11-30 07:15:31.407964+00');
INSERT INTO inbox VALUES ('state', 'frame-0042', 'done', '', '2026-11-30 07:15:31.408805+00', '2026-11-30 07:15:31.408805+00');
INSERT INTO inbox VALUES ('state', '7ab3fa56-e5ce-593b-b4ba-c075a098ec38', 'done', '', '2026-11-30 07:15:31.409568+00', '2026-11-30 07:15:31.409568+00');
INSERT INTO inbox VALUES ('orders', '8d8ca079-cfc5-53fc-a0b9-a9a699f0fa95', 'done', '', '2026-11-30 07:15:31.686883+00', '2026-11-30 07:15:31.686883+00');
INSERT INTO inbox VALUES ('orders', '6c3e4afe-be43-5a0a-9c09-6346e33229f2', 'done', '', '2026-11-30 07:15:31.694398+00', '2026-11-30 07:15:31.694398+00');
INSERT INTO inbox VALUES ('orders', 'db3b9695-af1f-54fe-a395-3eb59db06383', 'done', '', '2026-11-30 07:15:31.695371+00', '2026-11-30 07:15:31.695371+00');
INSERT INTO inbox VALUES ('orders', 'ceaf5e90-f4db-5fc9-a732-0885370722f3', 'done', '', '2026-11-30 07:15:31.695978+00', '2026-11-30 07:15:31.695978+00');
INSERT INTO inbox VALUES ('orders', 'acdf33da-d7d8-5483-9fa8-7d978eeea376', 'done', '', '2026-11-30 07:15:31.696935+00', '2026-11-30 07:15:31.696935+00');
INSERT INTO inbox VALUES ('orders', 'frame-0042', 'done', '', '2026-11-30 07:15:31.697722+00', '2026-11-30 07:15:31.697722+00');
INSERT INTO inbox VALUES ('orders', '7ab3fa56-e5ce-593b-b4ba-c075a098ec38', 'done', '', '2026-11-30 07:15:31.69856+00', '2026-11-30 07:15:31.69856+00');
INSERT INTO inbox VALUES ('orders-mail', 'under-way', 'in_progress', 'somebody', '2126-11-06 07:15:31.700013+00', '2026-11-30 07:15:31.700013+00');
INSERT INTO inbox VALUES ('orders-mail', 'died', 'in_progress', 'somebody', '2026-11-30 07:15:30.700547+00', '2026-11-30 07:15:31.700547+00');
INSERT INTO inbox VALUES ('orders-mail', 'done', 'done', '', '2026-11-30 07:15:31.700899+00', '2026-11-30 07:15:31.700899+00');
INSERT INTO inbox_marks VALUES ('orders', 'hall-lamp', 'device.power.changed.v1', '2005-01-29T12:01:00.123456789Z', '01107000000000000002');
INSERT INTO inbox_marks VALUES ('orders', 'attic/sensor-1', 'device.temperature.measured.v1', '2005-01-29T12:02:00.000000000Z', '01107000000000000003');
INSERT INTO inbox_marks VALUES ('orders', 'attic/sensor-1', 'device.reading.measured.v1', '2005-01-29T12:03:00.000000000Z', '01107000000000000004');
INSERT INTO inbox_marks VALUES ('orders', 'porch-door', 'device.contact.changed.v1', '2005-01-29T12:04:00.000000000Z', '01107000000000000006');
INSERT INTO inbox_marks VALUES ('orders', 'hall-lamp', 'device.motion.changed.v1', '2005-01-29T12:05:00.000000000Z', '01107000000000000007');
INSERT INTO migrations VALUES ('history', 1);
INSERT INTO migrations VALUES ('state', 1);
INSERT INTO migrations VALUES ('orders', 2);
INSERT INTO migrations VALUES ('parking', 1);
INSERT INTO orders_devices VALUES ('attic/sensor-1', 2, 'ceaf5e90-f4db-5fc9-a732-0885370722f3');
INSERT INTO orders_devices VALUES ('porch-door', 1, 'frame-0042');
INSERT INTO orders_devices VALUES ('hall-lamp', 4, '7ab3fa56-e5ce-593b-b4ba-c075a098ec38');
INSERT INTO parked_device VALUES ('lights', 'attic/sensor-1', 1796022921705703418, '{"service":"lights","device_id":"attic/sensor-1","state":"releasing","since":"2026-11-30T07:15:20.74086543Z","cause":{"message_id":"6abbcb26-2353-40d8-a981-bfa567622fce","event_id":"2c6f9aea-edd5-5a12-8bb4-e98c639d3744","event_type":"device.motion.changed.v1","class":"known","code":"refused","error":"no such device","attempts":1},"last":"c9ec3f27-d789-400e-a5d7-2f4592d8a7d5","followers":2,"release":"63836f7f-f3ba-4b60-ba23-01920a522566","until":"c9ec3f27-d789-400e-a5d7-2f4592d8a7d5"}');
INSERT INTO parked_device VALUES ('lights', 'hall-lamp', 1796022920892123465, '{"service":"lights","device_id":"hall-lamp","state":"parked","since":"2026-11-30T07:15:20.715808919Z","cause":{"message_id":"9c363138-5dbf-4fc5-bebb-aabad6b566d1","event_id":"c946423b-461a-5be3-8320-15f5ccf62482","event_type":"device.motion.changed.v1","class":"known","code":"refused","error":"no such device","attempts":1},"last":"f7052fb7-ecc0-47e7-adb1-72b1d86fabfc","followers":2}');
SELECT pg_catalog.setval('event_history_position_seq', 7, true);
ALTER TABLE ONLY device_state
    ADD CONSTRAINT device_state_pkey PRIMARY KEY (device_id, type);
ALTER TABLE ONLY event_history
    ADD CONSTRAINT event_history_event_id_key UNIQUE (event_id);
ALTER TABLE ONLY event_history
    ADD CONSTRAINT event_history_pkey PRIMARY KEY ("position");
ALTER TABLE ONLY inbox_marks
    ADD CONSTRAINT inbox_marks_pkey PRIMARY KEY (service, device_id, stream);
ALTER TABLE ONLY inbox
    ADD CONSTRAINT inbox_pkey PRIMARY KEY (service, event_id);
ALTER TABLE ONLY migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (service);
ALTER TABLE ONLY orders_devices
    ADD CONSTRAINT orders_devices_pkey PRIMARY KEY (device_id);
ALTER TABLE ONLY parked_device
    ADD CONSTRAINT parked_device_pkey PRIMARY KEY (service, device_id);
CREATE INDEX event_history_device_time ON event_history USING btree (device_id, "time");
CREATE INDEX inbox_updated_at ON inbox USING btree (service, updated_at);
