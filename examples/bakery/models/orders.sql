-- One row for each order of the day.
{{ config(materialized="table") }}
select *
from (values (1, 'rye', 2), (2, 'wheat', 1), (3, 'spelt', 4)) as sold (order_id, bread, loaves)
