"""What fills up, days ahead: used shares of a limit in, their forecast for 14 days out.

    settings  resources and priorities, as the configuration gives them
    reader    ranges of a resource from Prometheus; series: its series as entities
    held      the memory of a resource; today: as shares of the size of today; kept: on disk
    past      what is known of entities, and the statistics that everything else reads
    growth    growth now and before, when it changed, and the largest step of the last day
    courses, burst, network  what the forecast is made of, and how it is weighed
    draws     courses drawn from an entity's own days, and teeth, falls: how they fall
    runaway   straight rises under way, of hours and of weeks, and the date at which they are full
    forecast  percentiles for 14 days, when each is full, and the chances of full
    priority  P1, P2 or P3 of an entity
    lasting   since when it is P1 or P2, and whether its alert goes on
    relief    where somebody has made room
    survey    all of it for all entities; outlook: the result, and the board that holds the latest one
"""
