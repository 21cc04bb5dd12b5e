/* --- toml
title = "No landed file is rejected as a whole"
severity = "warn"
inputs = ["mart__data_status"]
--- */
select
    source,
    account,
    rejected_files
from mart__data_status
where rejected_files > 0
order by source, account
