/* --- toml
title = "Every record of an ingested file is accepted, quarantined, duplicate, superseded or not usage, and only one of them"
severity = "fail"
inputs = ["core__landed_files"]
--- */
select
    source,
    relative_path,
    landed_file,
    records,
    accepted,
    quarantined,
    duplicate,
    superseded,
    not_usage
from core__landed_files
where
    status = 'ingested'
    and records <> accepted + quarantined + duplicate + superseded + not_usage
order by source, relative_path, landed_file
