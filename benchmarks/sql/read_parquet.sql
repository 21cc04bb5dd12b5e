-- A usage table as it is.
create view requests as
select * from read_parquet(getvariable('log'))
